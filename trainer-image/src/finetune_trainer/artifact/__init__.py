"""The artifact: what it says about itself."""
