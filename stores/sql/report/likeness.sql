-- likeness.sql: how similar the two sides of a run's pairs are, by pairing.
-- In: $run_id. Out: one row per source, the most similar first; histogram: pairs in ten equal bins of similarity, 1.0 in the last.
SELECT source, count(*) AS pairs, avg(similarity) AS mean_similarity, median(similarity) AS median_similarity,
  median(length_ratio) AS median_length_ratio, median(shared_prefix_words) AS median_shared_prefix_words,
  list_transform(range(10), lambda bin: list_count(list_filter(list(least(floor(similarity * 10), 9)), lambda b: b = bin)))
    AS histogram
FROM pairs
WHERE run_id = $run_id
GROUP BY source
ORDER BY mean_similarity DESC, source;
