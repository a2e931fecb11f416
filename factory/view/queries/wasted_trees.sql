-- Trees that cost most and gave nothing. In: $rows BIGINT = 50.
SELECT tree_id, t.run_id, outcome, nodes_expanded, sum(r.tokens)::BIGINT AS tokens, max(value) AS best_value
FROM trees AS t
JOIN nodes AS n USING (tree_id)
LEFT JOIN responses AS r ON r.response_id = n.response_id
WHERE outcome <> 'accepted'
GROUP BY ALL
ORDER BY tokens DESC NULLS LAST, tree_id
LIMIT $rows;
