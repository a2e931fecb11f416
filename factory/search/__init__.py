"""The tree search for a refinement that passes."""
