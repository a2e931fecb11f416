-- prompt_licences.sql: the licences of the prompts that runs took or answered. In: $runs VARCHAR[].
-- Out: one row per licence; NULL: unknown.
SELECT DISTINCT licence
FROM prompts
WHERE prompt_id IN (SELECT prompt_id FROM run_prompts WHERE list_contains($runs, run_id))
  OR prompt_id IN (SELECT prompt_id FROM responses WHERE list_contains($runs, run_id))
ORDER BY licence;
