-- call_replies.sql: a call's choices, as rows keep them. In: $call_id. Out: one row per choice, in order: text. A judge that
-- answers in JSON, a refiner's thinking, a checklist, and a list of claims are kept as what was read from them.
SELECT text
FROM (
  SELECT coalesce(r.choice_index, n.visit) AS choice, coalesce(n.output, r.text) AS text
  FROM nodes AS n
  LEFT JOIN responses AS r USING (response_id)
  WHERE n.call_id = $call_id
  UNION ALL
  SELECT choice_index, text FROM responses WHERE call_id = $call_id AND kind NOT IN ('refined', 'resampled')
  UNION ALL
  SELECT vote, critique FROM judgements WHERE call_id = $call_id
  UNION ALL
  SELECT DISTINCT position, text FROM claims WHERE call_ids[1] = $call_id
  UNION ALL
  SELECT generate_subscripts(rationales, 1) - 1, unnest(rationales) FROM comparisons WHERE call_id = $call_id
  UNION ALL
  SELECT generate_subscripts(rationales, 1) - 1, unnest(rationales)
  FROM (SELECT any_value(rationales) AS rationales FROM meta_judgements WHERE call_id = $call_id)
  UNION ALL
  SELECT 0, string_agg(concat(position + 1, '. ', text, ' (weight ', weight, ')'), chr(10) ORDER BY position)
  FROM checklist_items
  WHERE call_id = $call_id
  HAVING count(*) > 0
)
ORDER BY choice NULLS LAST, text;
