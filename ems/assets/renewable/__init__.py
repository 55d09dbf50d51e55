"""Power from sun or wind: taken as it comes, or curtailed."""
