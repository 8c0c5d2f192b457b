"""What is known of patients beside their images: columns such as the site, and folds that go by them."""
