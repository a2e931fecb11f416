-- spar_rft.sql: the refiner's own data, for rejection-sampling fine-tuning (SPaR, arXiv:2412.11605, 3.3; its code).
-- Classes: refinements without a flaw on the path to an accepted node (four turns: judge, critique, refine, refinement);
-- critiques from trees where the votes disagreed, positive (0.5 < V < 1) and negative (0 < V < 0.5), at most one of each
-- kind per tree; judgements of sampled answers where the votes disagreed. Chosen by hash, not by chance, and
-- deduplicated by the judge's prompt. A verifier's critiques are left out: the refiner did not write them.
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1, and each class's cap: $refinements BIGINT = 4000,
--      $positive_critiques BIGINT = 1500, $negative_critiques BIGINT = 1000,
--      $positive_judgements BIGINT = 2500, $negative_judgements BIGINT = 500.
-- Out: prompt_completion; ordered by split, class and id: split, prompt, completion, and lineage.
-- Every class takes the smallest ids of judged responses, by which the lake is sorted, so few texts are read.
WITH
accepted AS (
  SELECT tree_id, accepted_node_id FROM trees WHERE list_contains($run_ids, run_id) AND outcome = 'accepted'
),
links AS (
  SELECT node_id, parent_node_id, judged_response_id, critique_judgement_id, flaw, tree_id
  FROM nodes
  WHERE tree_id IN (SELECT tree_id FROM accepted)
),
steps AS (
  -- From the accepted node up to the root, one join per level, as trees are shallow. A row is a node, with the id and the
  -- critique of the node on the path that was refined from it.
  WITH RECURSIVE up AS (
    SELECT NULL::VARCHAR AS id, NULL::VARCHAR AS critique_id, NULL::VARCHAR AS id_flaw, l.*
    FROM links AS l
    JOIN accepted ON accepted_node_id = node_id
    UNION ALL
    SELECT up.node_id, up.critique_judgement_id, up.flaw, l.*
    FROM up
    JOIN links AS l ON l.node_id = up.parent_node_id
  )
  SELECT id, judged_response_id AS judged_id, critique_id
  FROM up
  WHERE critique_id IS NOT NULL AND (id_flaw IS NULL OR tree_id IN (FROM flawed_accepted))
),
refinements AS (
  SELECT min(id) AS id, judged_id, critique_id
  FROM steps
  GROUP BY judged_id, critique_id
  ORDER BY judged_id, id
  LIMIT $refinements
),
voted AS (
  SELECT run_id, response_id, judge, count(*) FILTER (v.verdict = 'yes') AS yes, count(*) FILTER (v.verdict = 'no') AS no,
    if(yes > no, 'yes', 'no') AS verdict
  FROM judgements AS v
  WHERE kind = 'votes' AND list_contains($run_ids, run_id)
  GROUP BY run_id, response_id, judge
  HAVING yes > 0 AND no > 0 AND yes <> no  -- unanimous ones and ties are left out everywhere
),
tree_votes AS (
  SELECT run_id, tree_id, judge, verdict, min(response_id) AS response_id, any_value(prompt_id) AS prompt_id
  FROM voted
  JOIN (
    SELECT response_id, tree_id, prompt_id FROM nodes WHERE depth > 0 AND judged_response_id = response_id
  ) USING (response_id)
  GROUP BY run_id, tree_id, judge, verdict
),
sampled_votes AS (
  SELECT run_id, NULL::VARCHAR AS tree_id, judge, verdict, response_id, prompt_id
  FROM voted
  JOIN (SELECT response_id, prompt_id FROM responses WHERE kind = 'sampled' AND flaw IS DISTINCT FROM 'empty') USING (response_id)
),
judged AS (
  (SELECT 'positive critique' AS class, * FROM tree_votes WHERE verdict = 'yes' ORDER BY response_id, judge LIMIT $positive_critiques)
  UNION ALL
  (SELECT 'negative critique', * FROM tree_votes WHERE verdict = 'no' ORDER BY response_id, judge LIMIT $negative_critiques)
  UNION ALL
  (SELECT 'positive judgement', * FROM sampled_votes WHERE verdict = 'yes' ORDER BY response_id, judge LIMIT $positive_judgements)
  UNION ALL
  (SELECT 'negative judgement', * FROM sampled_votes WHERE verdict = 'no' ORDER BY response_id, judge LIMIT $negative_judgements)
),
picked AS (
  SELECT 'refinement' AS class, id, run_id, prompt_id, tree_id, judged_id, critique_id, output, call_id
  FROM refinements
  JOIN nodes ON node_id = id
  UNION ALL
  -- The first vote that agrees with the majority.
  SELECT class, arg_min(judgement_id, vote) AS id, run_id, j.prompt_id, j.tree_id, response_id, id, NULL, NULL
  FROM judged AS j
  JOIN judgements USING (run_id, response_id, judge, verdict)
  GROUP BY ALL
),
rendered AS (
  SELECT p.*, coalesce(judging.text, usual.text) AS judge_template, coalesce(refining.text, refine.text) AS refine_template,
    conversation(q.messages) AS asked, r.text AS judged, j.critique,
    -- What the refiner wrote: of a JSON verdict only the critique is stored, so the JSON is rebuilt.
    coalesce(p.output, CASE WHEN json_exists(c.parameters, '$.response_format')
      THEN to_json({'critique': j.critique, 'verdict': j.verdict})::VARCHAR ELSE j.critique END) AS answer
  FROM picked AS p
  JOIN prompts AS q USING (prompt_id)
  JOIN responses AS r ON r.response_id = p.judged_id
  JOIN judgements AS j ON j.response_id = p.judged_id AND j.judgement_id = p.critique_id
  LEFT JOIN calls AS c ON c.call_id = coalesce(p.call_id, j.call_id)
  LEFT JOIN run_templates AS refining ON refining.run_id = p.run_id AND refining.name = c.template
  LEFT JOIN run_templates AS refine ON refine.run_id = p.run_id AND refine.name = 'refine'
  LEFT JOIN (SELECT DISTINCT run_id, hash, text FROM run_templates) AS judging ON judging.run_id = p.run_id AND judging.hash = j.template_hash
  LEFT JOIN run_templates AS usual ON usual.run_id = p.run_id AND usual.name = 'judge'
)
SELECT
  split_of(prompt_id, $held_out) AS split,
  CASE class
    WHEN 'refinement' THEN refine_turns(judge_template, refine_template, asked, judged, critique)
    ELSE [user_turn(render(judge_template, MAP {'prompt': asked, 'response': judged}))]
  END AS prompt,
  [assistant_turn(answer)] AS completion,
  class, id, prompt_id, run_id, tree_id
FROM rendered
-- One judgement per judge's prompt: equal answers to a prompt are one question.
QUALIFY class = 'refinement' OR row_number() OVER (PARTITION BY prompt_id, judged, class <> 'refinement' ORDER BY class, id) = 1
ORDER BY split DESC, class, id;
