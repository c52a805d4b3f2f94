"""Tables, figures and the report page, made from files alone."""
