"""SunSpec: layouts of the published models, for pages of devices that speak them."""
