-- Every figure of every evaluation, with its interval.
SELECT m.name AS model, role, benchmark, metric, value, low, high, examples, recorded_at
FROM evaluations
JOIN models AS m USING (model_id)
ORDER BY recorded_at DESC, benchmark, metric;
