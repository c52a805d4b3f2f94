"""Networks, the codec and the teachers, all in diffusers' layout."""
