"""Networks trained for this repository, with the scripts that trained them."""
