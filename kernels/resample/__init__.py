"""Images at other sizes."""
