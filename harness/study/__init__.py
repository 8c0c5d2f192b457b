"""The study file: schema, protocols, expansion into cells."""
