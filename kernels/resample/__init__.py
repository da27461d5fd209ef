"""Images at other sizes, or with mirrored borders."""
