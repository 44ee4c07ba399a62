"""From the bytes that a client sent to a page of pixels; documents in processes of their own."""
