-- spar_rft.sql: the refiner's own data, for rejection-sampling fine-tuning (SPaR, arXiv:2412.11605, 3.3; its code).
-- Classes: refinements on the way to an accepted node (four turns: judge, critique, refine, refinement); critiques
-- out of the trees where the votes disagreed, positive (0.5 < V < 1) and negative (0 < V < 0.5), at most one of each
-- kind a tree; judgements of sampled answers where the votes disagreed. Chosen by hash, not by chance, and
-- deduplicated by the judge's prompt. A verifier's words are not the refiner's own: they are no judgement to learn.
-- In:  $run_ids VARCHAR[], $held_out DOUBLE = 0.1, and each class's cap: $refinements BIGINT = 4000,
--      $positive_critiques BIGINT = 1500, $negative_critiques BIGINT = 1000,
--      $positive_judgements BIGINT = 2500, $negative_judgements BIGINT = 500.
-- Out: prompt_completion; ordered by class and id: split, prompt, completion, and lineage.
WITH
run AS (FROM current_runs WHERE list_contains($run_ids, run_id)),
accepted AS (
  SELECT tree_id, run_id, accepted_node_id AS node_id FROM trees WHERE run_id IN (SELECT run_id FROM run) AND outcome = 'accepted'
),
links AS (SELECT node_id, parent_node_id, tree_id, depth FROM nodes WHERE tree_id IN (SELECT tree_id FROM accepted)),
on_path AS (
  -- From the accepted node up to the root, a join a level: trees are shallow.
  WITH RECURSIVE up AS (
    SELECT l.node_id, l.parent_node_id, l.depth FROM accepted JOIN links AS l USING (node_id)
    UNION ALL
    SELECT l.node_id, l.parent_node_id, l.depth FROM up JOIN links AS l ON l.node_id = up.parent_node_id
  )
  SELECT node_id FROM up WHERE depth > 0
),
refinements AS (
  SELECT 'refinement' AS class, n.node_id AS id, n.run_id, n.prompt_id, n.tree_id,
    parent.response_id AS judged_id, n.critique_judgement_id AS critique_id
  FROM nodes AS n
  JOIN (SELECT node_id, response_id FROM nodes) AS parent ON parent.node_id = n.parent_node_id
  WHERE n.node_id IN (SELECT node_id FROM on_path) AND n.critique_judgement_id IS NOT NULL
  QUALIFY row_number() OVER (PARTITION BY n.prompt_id, n.critique_judgement_id ORDER BY n.node_id) = 1
  ORDER BY n.node_id
  LIMIT $refinements
),
voted AS (
  SELECT run_id, response_id, count(*) FILTER (verdict = 'yes') AS yes, count(*) FILTER (verdict = 'no') AS no,
    yes > no AS passed
  FROM judgements
  WHERE judge = 'votes' AND run_id IN (SELECT run_id FROM run)
  GROUP BY run_id, response_id
  HAVING yes > 0 AND no > 0 AND yes <> no  -- unanimous ones and ties are left out everywhere
),
tree_votes AS (
  SELECT run_id, tree_id, passed, min(response_id) AS response_id, any_value(prompt_id) AS prompt_id
  FROM voted
  JOIN (
    SELECT response_id, tree_id, prompt_id FROM nodes WHERE depth > 0 AND judged_response_id = response_id
  ) USING (response_id)
  GROUP BY run_id, tree_id, passed
),
sampled_votes AS (
  SELECT run_id, NULL::VARCHAR AS tree_id, passed, response_id, prompt_id
  FROM voted
  JOIN (SELECT response_id, prompt_id FROM responses WHERE kind = 'sampled') USING (response_id)
),
judged AS (
  (SELECT 'positive critique' AS class, * FROM tree_votes WHERE passed ORDER BY response_id LIMIT $positive_critiques)
  UNION ALL
  (SELECT 'negative critique', * FROM tree_votes WHERE NOT passed ORDER BY response_id LIMIT $negative_critiques)
  UNION ALL
  (SELECT 'positive judgement', * FROM sampled_votes WHERE passed ORDER BY response_id LIMIT $positive_judgements)
  UNION ALL
  (SELECT 'negative judgement', * FROM sampled_votes WHERE NOT passed ORDER BY response_id LIMIT $negative_judgements)
),
picked AS (
  FROM refinements
  UNION ALL
  -- The first vote that agrees with the majority.
  SELECT j.class, arg_min(v.judgement_id, v.vote) AS id, run_id, j.prompt_id, j.tree_id, response_id,
    arg_min(v.judgement_id, v.vote)
  FROM judged AS j
  JOIN (SELECT run_id, response_id, judgement_id, vote, verdict = 'yes' AS says_yes FROM judgements
    WHERE judge = 'votes' AND verdict <> 'unparsed') AS v USING (run_id, response_id)
  WHERE v.says_yes = j.passed
  GROUP BY ALL
),
-- Texts last, each table's once: they are nearly all of a lake's bytes.
outputs AS (SELECT node_id, output FROM nodes JOIN (SELECT id FROM refinements) ON node_id = id),
rendered AS (
  SELECT p.*, run.templates['judge'] AS judge_template, run.templates['refine'] AS refine_template,
    conversation(q.messages) AS asked, r.text AS judged, j.critique, coalesce(o.output, j.critique) AS answer
  FROM picked AS p
  JOIN run USING (run_id)
  JOIN prompts AS q USING (prompt_id)
  JOIN responses AS r ON r.response_id = p.judged_id
  JOIN judgements AS j ON j.judgement_id = p.critique_id
  LEFT JOIN outputs AS o ON o.node_id = p.id
)
SELECT
  split_of(prompt_id, $held_out) AS split,
  CASE class
    WHEN 'refinement' THEN refine_turns(judge_template, refine_template, asked, judged, critique)
    ELSE [user_turn(render(judge_template, asked, judged))]
  END AS prompt,
  [assistant_turn(answer)] AS completion,
  class, id, prompt_id, run_id, tree_id
FROM rendered
-- One judgement for each judge's prompt: equal answers to a prompt are one question.
QUALIFY class = 'refinement' OR row_number() OVER (PARTITION BY prompt_id, judged, class <> 'refinement' ORDER BY class, id) = 1
ORDER BY class, id;
