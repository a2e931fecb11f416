"""Makes the data: recipes, stages, the search, the run loop. Knows `stores` and `schemas`, never `trainers`."""
