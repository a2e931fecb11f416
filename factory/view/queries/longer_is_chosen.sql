-- How often the longer answer is the chosen one, by where pairs come from.
SELECT source, count(*) AS pairs, avg((length_ratio > 1)::INT) AS longer_chosen, median(length_ratio) AS median_ratio
FROM pairs
WHERE length_ratio IS NOT NULL
GROUP BY ALL
ORDER BY pairs DESC, source;
