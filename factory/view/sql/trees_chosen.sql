-- trees_chosen.sql: a page of the tree table: ids alone. {trees}: the filtered trees; {order}: one of the orders that
-- `tree_list.py` names. In: $rows, $skip. Out: tree_id, in order.
SELECT tree_id
FROM ({trees}) AS t
LEFT JOIN (SELECT run_id, max(started_at) AS started_at FROM current_runs GROUP BY run_id) USING (run_id)
{join}
ORDER BY {order}, started_at DESC, run_id, tree_id
LIMIT $rows OFFSET $skip;
