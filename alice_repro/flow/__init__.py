"""Time, noise, conversions between parameterisations, guidance and the forward-mode derivative."""
