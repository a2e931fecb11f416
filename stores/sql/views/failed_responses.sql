-- failed_responses.sql: sampled responses that the deciding judge failed, with the critique to refine from.
CREATE TEMP VIEW failed_responses AS
SELECT v.run_id, v.prompt_id, v.response_id, r.text, v.value, v.critique_judgement_id
FROM verdicts AS v
JOIN responses AS r USING (response_id)
WHERE v.decides AND NOT v.passed AND r.kind = 'sampled' AND r.flaw IS DISTINCT FROM 'empty';
