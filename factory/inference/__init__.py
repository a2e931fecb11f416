"""Models behind OpenAI-compatible endpoints: asked, paced, paid, written down."""
