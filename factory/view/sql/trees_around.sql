-- trees_around.sql: the trees before and after one in the tree table. {trees}, {order}: as in trees_chosen.sql.
-- In: $tree_id. Out: at most one row: before, after, place (from 1).
SELECT before, after, place
FROM (
  SELECT tree_id, lag(tree_id) OVER listed AS before, lead(tree_id) OVER listed AS after, row_number() OVER listed AS place
  FROM ({trees}) AS t
  LEFT JOIN (SELECT run_id, max(started_at) AS started_at FROM current_runs GROUP BY run_id) USING (run_id)
  {join}
  WINDOW listed AS (ORDER BY {order}, started_at DESC, run_id, tree_id)
)
WHERE tree_id = $tree_id;
