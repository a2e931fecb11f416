-- corpus_documents.sql: the documents that claims can be checked against. In: nothing. Out: one row per source and licence.
SELECT source, coalesce(licence, 'unknown') AS licence, count(*) AS documents, sum(len(text))::BIGINT AS characters,
  min(title) AS first_title
FROM documents
GROUP BY ALL
ORDER BY source, licence;
