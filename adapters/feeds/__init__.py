"""Live feeds of prices, carbon and weather: a response fetched over HTTP or dropped as a file becomes rows in our units and in UTC."""
