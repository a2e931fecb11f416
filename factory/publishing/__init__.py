"""Training sets and models on the Hugging Face Hub: what is written, what refuses it, how it gets there and back."""
