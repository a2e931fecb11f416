"""The corpus: the lake's prompts with sources, languages, licences and constraints."""

from starlette.requests import Request

from factory.view.asking import of_this_lake, query
from factory.view.corpus import PromptFilter, count_prompts, list_prompts
from factory.view.given import address_part, number_of, text_of_query
from factory.view.showing import Page, Shown, address, is_file, routes

ON_A_PAGE = 50
_ALL = 1_000_000
FACETS = {
    "source": "sources", "language": "languages", "licence": "licences", "constraint": "constraints", "run": "runs",
}  # fmt: skip


def corpus(request: Request) -> Page:
    """The list of prompts; its counts come later, as on the page of pairs."""
    which = PromptFilter(**{name: text_of_query(request, name) for name in (*FACETS, "text")})
    at = number_of(request, "page", least=1) or 1
    as_file = is_file(request)
    before = 0 if as_file else (at - 1) * ON_A_PAGE
    with of_this_lake(request) as lake:
        found = list_prompts(lake, which, before, _ALL if as_file else ON_A_PAGE + 1)
        documents = query(lake, "corpus_documents")
        counted = count_prompts(lake, which) if "facets" in request.query_params else None
    more = not as_file and found.num_rows > ON_A_PAGE
    rows = found if as_file else found.slice(0, ON_A_PAGE)
    links = {
        "prompt_id": lambda row: f"/prompt/{address_part(row['prompt_id'])}",
        "evolved_from": lambda row: (
            None if row["evolved_from"] is None else f"/prompt/{address_part(row['evolved_from'])}"
        ),
    }
    context = {
        "facet_names": FACETS,
        "counts": counted,
        "chosen": {name: request.query_params.get(name) for name in (*FACETS, "text")},
        "at": at,
        "before": address(request, page=str(at - 1), facets=None) if at > 1 else None,
        "after": address(request, page=str(at + 1), facets=None) if more else None,
    }
    tables = [Shown("prompts", rows, links, count=before + rows.num_rows, capped=more)]
    if documents.num_rows:
        tables.append(Shown("documents", documents, caption="Documents that claims are checked against"))
    return Page("corpus.html", "corpus", context, tables)


ROUTES = routes("/corpus", corpus)
