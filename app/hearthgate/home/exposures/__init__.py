"""What is public: sites by hostname, forwards by port, and how each looks outside."""
