"""HTTP: connections, requests and answers."""
