"""Values of SR images against HR images, by one protocol."""
