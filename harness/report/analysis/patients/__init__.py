"""Groups of patients, such as those of a site, and shares of the training patients."""
