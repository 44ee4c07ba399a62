"""Rendered example invoices, and the small YOLO base model that reads them."""
