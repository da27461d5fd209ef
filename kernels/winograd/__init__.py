"""3×3 convolutions of stride 1 by minimal filtering."""
