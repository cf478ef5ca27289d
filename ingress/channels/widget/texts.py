"""What visitors read from the server, by language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: The longest message, in characters.
LONGEST = 4000

TITLE = {"ru": "Чат поддержки", "en": "Support chat"}
GREETING = {
    "ru": "Здравствуйте! Задайте вопрос, и мы постараемся помочь.",
    "en": "Hello! Ask your question and we will do our best to help.",
}
REFUSALS: dict[str, dict[str, str]] = {
    "too_long": {
        "ru": f"Сообщение слишком длинное: не больше {LONGEST} знаков.",
        "en": f"The message is too long: {LONGEST} characters at most.",
    },
    "empty": {"ru": "Напишите текст сообщения.", "en": "Write a message first."},
    "no_files": {"ru": "Здесь нельзя отправлять файлы.", "en": "Files cannot be sent here."},
    "file_broken": {
        "ru": "Файл пустой или повреждён.",
        "en": "The file is empty or damaged.",
    },
    "file_gone": {
        "ru": "Файл больше не хранится. Прикрепите его ещё раз.",
        "en": "The file is no longer kept. Attach it again.",
    },
    "file_slow": {
        "ru": "Файл загружается слишком долго. Попробуйте ещё раз.",
        "en": "The upload takes too long. Try again.",
    },
    "no_session": {
        "ru": "Сеанс чата не найден. Обновите страницу.",
        "en": "The chat session was not found. Reload the page.",
    },
    "too_many": {
        "ru": "Слишком много сообщений подряд. Подождите немного и отправьте снова.",
        "en": "Too many messages at once. Wait a little and send it again.",
    },
    "too_often": {
        "ru": "Слишком много запросов. Подождите немного.",
        "en": "Too many requests. Wait a little.",
    },
    "crowded": {
        "ru": "Чат открыт в слишком многих окнах. Закройте лишние.",
        "en": "The chat is open in too many windows. Close some of them.",
    },
    "full": {
        "ru": "Чат сейчас перегружен. Ответы придут с небольшой задержкой.",
        "en": "The chat is very busy. Answers come with a small delay.",
    },
    "conflict": {
        "ru": "Это сообщение уже отправлено с другим текстом.",
        "en": "This message was already sent with another text.",
    },
    "foreign": {
        "ru": "Чат не подключён для этого сайта.",
        "en": "The chat is not enabled for this website.",
    },
}


_KINDS = {
    "photo": {"ru": "фотографии", "en": "pictures"},
    "recording": {"ru": "аудио, видео", "en": "audio, video"},
    "document": {"ru": "PDF, DOCX, текст", "en": "PDF, DOCX, text"},
}


def too_large(largest: int) -> dict[str, str]:
    """A file of more than ``largest`` megabytes."""
    return {
        "ru": f"Файл слишком большой: не больше {largest} МБ.",
        "en": f"The file is too large: {largest} MB at most.",
    }


def wrong_type(kinds: Sequence[str]) -> dict[str, str]:
    """A file that holds none of ``kinds``."""
    known = {language: ", ".join(_KINDS[kind][language] for kind in kinds) for language in ("ru", "en")}
    return {
        "ru": f"Такие файлы здесь не читают. Подойдут: {known['ru']}.",
        "en": f"Files of this kind are not read here. These are: {known['en']}.",
    }


def choose(locale: str | None, *texts: Mapping[str, str]) -> str:
    """The language of ``texts`` nearest to ``locale``; English where nothing is near."""
    known = {language for group in texts for language in group}
    wish = (locale or "").replace("_", "-")
    for candidate in (wish, wish.partition("-")[0].lower()):
        if candidate in known:
            return candidate
    return "en"


def text_in(language: str, own: Mapping[str, str], default: Mapping[str, str]) -> str:
    """The account's own text in ``language``, else the default; a text in some language beats none."""
    return own.get(language) or default.get(language) or own.get("en") or default["en"]
