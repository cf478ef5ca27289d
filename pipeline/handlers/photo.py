"""Pictures: what they show and the words in them, by a model that sees. One call looks at all pictures of a turn."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import NotUnderstood
from pipeline.handlers.base import File, Tools, with_cost
from pipeline.handlers.decoding import as_image_part, picture
from pipeline.llm import Completion
from pipeline.prompts import as_data, load
from storage.understanding import Part, Problem


def understand(files: Sequence[File], tools: Tools) -> list[Part]:
    """What the pictures show, in the part of the first one, on whose message the call is booked; the others are
    ``shared``."""
    tools.seeing()  # decoding is of no use where nobody looks
    found: list[bytes | Problem] = [_decoded(file, tools) for file in files]
    pictures = [one for one in found if isinstance(one, bytes)]
    if not pictures:
        return [Part(kind="photo", name=file.name, problem="broken") for file in files]
    first = next(file for file, one in zip(files, found, strict=True) if isinstance(one, bytes))
    said = describe(pictures, tools.of(first), video=False)
    parts: list[Part] = []
    told = False
    for file, one in zip(files, found, strict=True):
        part = Part(kind="photo", name=file.name, language=tools.language)
        if not isinstance(one, bytes):
            part = part.model_copy(update={"problem": one})
        elif told:
            part = part.model_copy(update={"shared": True})
        else:
            part, told = with_cost(part.model_copy(update={"seen": said.text}), said.usage), True
        parts.append(part)
    return parts


def _decoded(file: File, tools: Tools) -> bytes | Problem:
    """One broken picture of an album is no reason to look at none."""
    try:
        return picture(file.path, within=tools.settings.timeout)
    except NotUnderstood as error:
        return error.problem


def describe(pictures: Sequence[bytes], tools: Tools, *, video: bool) -> Completion:
    """A model's description of pictures (JPEG). ``video``: they are frames of one. Raises as :meth:`Handler`."""
    template = load("image_caption_template")
    prompt = template.render(language=tools.language, count=len(pictures), video=video, words=as_data(tools.words))
    content = [{"type": "text", "text": prompt}, *(as_image_part(picture, video=video) for picture in pictures)]
    return tools.seeing().complete(
        [{"role": "user", "content": content}], max_tokens=tools.settings.caption_tokens, purpose="caption"
    )
