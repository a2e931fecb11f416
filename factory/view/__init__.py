"""A lake in the browser: pages, their data, and the reviews that people write there."""
