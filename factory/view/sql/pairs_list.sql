-- pairs_list.sql: after `pairs_found.sql`, one page of the list. In: $sort (doubts, longest, unlike or close; NULL: by
-- id), $offset, $limit BIGINT. Out: one row per pair, ordered by $sort, then by id.
SELECT pair_id, doubts, longer, unlike, close, flawed, disputed, similarity, length_ratio, chosen_value, rejected_value,
  reviews, source, run_id, prompt_id, tree_id, chosen_response_id, rejected_response_id
FROM found
ORDER BY
  CASE $sort WHEN 'doubts' THEN -doubts WHEN 'longest' THEN -coalesce(length_ratio, 1e9) WHEN 'unlike' THEN similarity
    WHEN 'close' THEN coalesce(margin, 2) END, pair_id
LIMIT $limit OFFSET $offset;
