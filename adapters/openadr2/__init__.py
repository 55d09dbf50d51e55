"""OpenADR 2.0b on the wire, the site's end (VEN): messages by openleadr, the rules its client lacks by us."""
