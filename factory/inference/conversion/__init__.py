"""A folder of safetensors, as trainers write it, made into the GGUF file that llama.cpp serves: in numpy, without torch."""
