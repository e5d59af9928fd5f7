"""Code generators of what only training needs."""
