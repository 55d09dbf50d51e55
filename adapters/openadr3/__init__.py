"""OpenADR 3 on the wire, the site's end (VEN): reads liberally, writes strictly, decides nothing."""
