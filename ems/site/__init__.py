"""What the site is: ratings, feeder tree, point of connection, tariff; and how its YAML is read."""
