"""Records that bring content: messages, chats, drafts, contacts, documents, folders, tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from backupng.engine.mailserver.zimbra.codes import (
    FIRST_USER_ID,
    Flag,
    SystemFolder,
    letters_of,
    three_bytes,
)
from backupng.engine.mailserver.zimbra.parsing.mime import Heading
from backupng.engine.mailserver.zimbra.rows import full_subject, shown_text
from backupng.engine.model import (
    CONTENT_TYPE,
    CONVERSATION,
    CREATOR,
    ItemId,
    ItemKind,
    ItemState,
)
from backupng.engine.scan.effects import Content, Effect, Operation, exactly, joined, touching
from backupng.engine.scan.known import Known


def create_message(op: Operation, known: Known) -> Effect:
    """A message arrived, with all its content; others may have joined its conversation."""
    conversation = op.fields["convId"]
    first = known.living(ItemId(op.fields.get("convFirstMsgId", 0)))
    merged = [
        state
        for old in op.fields.get("mergedConvIds", ())
        for state in map(known.living, sorted(known.index.children(ItemId(old))))
    ]
    joining = [state for state in (first, *merged) if state is not None]
    return joined(
        [
            _create(op, ItemKind.MESSAGE),
            exactly(_in_conversation(op.changed(state), conversation) for state in joining),
        ]
    )


def create_chat(op: Operation, known: Known) -> Effect:
    """A chat was saved, with all its content."""
    return _create(op, ItemKind.CHAT)


def _create(op: Operation, kind: ItemKind) -> Effect:
    fields, item = op.fields, ItemId(op.fields["msgId"])
    touched = touching(fields["calItemId"])
    if op.content is None:
        return joined([touching(item), touched])
    folder, guessed = fields["folderId"], frozenset[ItemId]()
    if fields["calItemId"] > 0:
        # The server has put the calendar's folder over the message's.
        folder, guessed = int(SystemFolder.INBOX), frozenset({item})
    state = op.state(
        item,
        kind,
        folder_id=ItemId(folder),
        flags=letters_of(fields["flags"]),
        unread=bool(fields["flags"] & Flag.UNREAD),
        tags=tag_names(fields.get("tags")),
        date=fields["receivedDate"] // 1000,
        **_message_values(op.content),
    )
    state = _in_conversation(state, fields["convId"])
    return joined([Effect(exact=(state,), guessed=guessed), touched])


def _in_conversation(state: ItemState, conversation: int) -> ItemState:
    """Note the conversation of a message, as long as there is no row to tell it."""
    if conversation <= 0:
        return state
    return replace(state, fields={**state.fields, CONVERSATION: str(conversation)})


def save_draft(op: Operation, known: Known) -> Effect:
    """A draft that was there got new content."""
    last = known.living(ItemId(op.fields["msgId"]))
    if last is None or op.content is None:
        return touching(op.fields["msgId"])
    date = op.fields["receivedDate"] // 1000
    return exactly([op.changed(last, date=date, **_message_values(op.content))])


def _message_values(content: Content) -> dict[str, Any]:
    facts = content.facts
    values: dict[str, Any] = {"digest": content.digest, "size": content.size}
    if facts is not None:
        values |= {
            "subject": subject_of(facts),
            "sender": shown_text(facts.sender) or facts.sender_column,
            "recipients": shown_text(facts.to) or facts.recipients_column,
        }
    return values


def subject_of(facts: Heading) -> str | None:
    """Return a message's subject as its row would tell it."""
    return full_subject(three_bytes(facts.subject_column), facts.metadata)


def create_contact(op: Operation, known: Known) -> Effect:
    """A contact was made; one with attachments has a blob that the server builds itself."""
    if op.fields.get("data") is not None and op.fields["data"].length:
        return touching(op.fields["contactId"])
    state = op.state(
        op.fields["contactId"],
        ItemKind.CONTACT,
        folder_id=ItemId(op.fields["folderId"]),
        tags=tag_names(op.fields.get("tags")),
        date=int(op.start.timestamp()),
        size=0,
        fields=_contact_fields(op),
    )
    return exactly([state])


def modify_contact(op: Operation, known: Known) -> Effect:
    """A contact's fields were replaced, all of them."""
    last = known.living(ItemId(op.fields["contactId"]))
    has_data = op.fields.get("data") is not None and op.fields["data"].length
    if last is None or has_data or op.fields.get("replace") is False or last.digest is not None:
        return touching(op.fields["contactId"])
    date = int(op.start.timestamp())
    return exactly([op.changed(last, fields=_contact_fields(op), date=date)])


def _contact_fields(op: Operation) -> dict[str, str]:
    return {pair["k"]: pair["v"] for pair in op.fields["fields"] if pair["k"] and pair["v"]}


def save_document(op: Operation, known: Known) -> Effect:
    """A document was made, with all its content."""
    if op.content is None:
        return touching(op.fields["msgId"])
    state = op.state(
        op.fields["msgId"],
        ItemKind.DOCUMENT,
        folder_id=ItemId(op.fields["folderId"]),
        flags=letters_of(op.fields["flags"]),
        tags=tag_names(op.fields.get("tags")),
        **_document_values(op, op.content),
    )
    return exactly([state])


def add_document_revision(op: Operation, known: Known) -> Effect:
    """A document got a new version."""
    last = known.living(ItemId(op.fields["docId"]))
    if last is None or op.content is None:
        return touching(op.fields["docId"])
    return exactly([op.changed(last, **_document_values(op, op.content))])


def _document_values(op: Operation, content: Content) -> dict[str, Any]:
    name = three_bytes(op.fields["filename"] or "")
    return {
        "name": name,
        "subject": name,
        "sender": op.fields["author"],
        "date": op.fields["receivedDate"] // 1000,
        "size": content.size,
        "digest": content.digest,
        "fields": {CONTENT_TYPE: op.fields["mimeType"] or "", CREATOR: op.fields["author"] or ""},
    }


def create_folder(op: Operation, known: Known) -> Effect:
    """A folder was made."""
    fields = op.fields
    return exactly([_folder(op, fields["folderId"], fields["name"], fields["parentId"])])


def create_folder_path(op: Operation, known: Known) -> Effect:
    """The folders of a path: those not known yet were made, the last of them as it was asked."""
    names = [name for name in (op.fields["path"] or "").split("/") if name]
    parent, states = int(SystemFolder.USER_ROOT), []
    folders = [each["id"] for each in op.fields["folders"]]
    for folder, name in zip(folders, names, strict=False):
        if folder >= FIRST_USER_ID and known.last(ItemId(folder)) is None:
            states.append(_folder(op, folder, name, parent, is_last=folder == folders[-1]))
        parent = folder
    return exactly(states)


def _folder(
    op: Operation, item: int, name: str | None, parent: int, *, is_last: bool = True
) -> ItemState:
    stored = three_bytes((name or "").rstrip(" "))
    date = op.fields.get("date")
    return op.state(
        item,
        ItemKind.FOLDER,
        folder_id=ItemId(parent),
        name=stored,
        subject=stored,
        flags=letters_of(op.fields["flags"]) if is_last else "",
        color=op.fields["color"] if is_last else 0,
        date=date // 1000 if date and is_last else int(op.start.timestamp()),
    )


def create_saved_search(op: Operation, known: Known) -> Effect:
    """A search folder was made."""
    return _named(op, "searchId", ItemKind.SEARCH)


def create_mountpoint(op: Operation, known: Known) -> Effect:
    """Somebody else's folder was mounted."""
    return _named(op, "id", ItemKind.MOUNTPOINT)


def _named(op: Operation, key: str, kind: ItemKind) -> Effect:
    stored = three_bytes((op.fields["name"] or "").rstrip(" "))
    state = op.state(
        op.fields[key],
        kind,
        folder_id=ItemId(op.fields["folderId"]),
        name=stored,
        subject=stored,
        flags=letters_of(op.fields.get("flags", 0)),
        color=op.fields["color"],
        date=int(op.start.timestamp()),
    )
    return exactly([state])


def create_tag(op: Operation, known: Known) -> Effect:
    """A tag was made."""
    name = three_bytes((op.fields["name"] or "").strip())
    tag = op.state(op.fields["tagId"], ItemKind.TAG, name=name, color=op.fields["color"])
    return exactly([tag])


def tag_names(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of tags as a row holds them, each once."""
    return tuple(dict.fromkeys(_stored(names or ())))


def _stored(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name and name.strip():
            yield three_bytes(name.strip())
