-- How alike chosen and rejected answers are. In: $source VARCHAR = 'refined_over_failed'.
SELECT round(similarity, 1) AS likeness, count(*) AS pairs, avg(length_ratio) AS length_ratio
FROM pairs
WHERE source = $source
GROUP BY ALL
ORDER BY likeness;
