/** What did not happen: the server has refused it, and the user decides what becomes of it. */

import type { Rejection, RejectedOperation } from "@tidewire/client";
import { useLiveQuery, useRejections } from "@tidewire/react";
import { useEffect, useMemo } from "react";

import { ignore } from "../ui/attempt.js";

/** A write that did not happen, in the words of the chat. */
export interface Failure {
  readonly rejection: Rejection;
  /** The room that it was in, where that is known. */
  readonly room: string | null;
  readonly what: "message" | "edit" | "delete" | "like" | "other";
  /** What was to be said. */
  readonly body: string | null;
  readonly reason: string;
}

interface RoomOf {
  readonly id: string;
  readonly room: string;
}

/** All of them, also from before the page was loaded. */
export function useFailures(): readonly Failure[] {
  const rejections = useRejections();
  // What was changed or deleted is named by its key: its room is in the row, which is as it was before.
  const ids = JSON.stringify(rejections.flatMap(({ operations }) => operations.map(idOf).filter((id) => id !== null)));
  const { rows } = useLiveQuery<RoomOf>("SELECT id, room FROM chat.messages WHERE id IN (SELECT value FROM json_each($1))", [ids]);
  const settled = rejections.filter(isSettled);
  useEffect(() => {
    // There is nothing to decide.
    for (const rejection of settled) ignore(rejection.discard());
  });
  return useMemo(() => {
    const rooms = new Map(rows.map(({ id, room }) => [id, room]));
    return rejections.filter((it) => !isSettled(it)).map((it) => toFailure(it, rooms));
  }, [rejections, rows]);
}

function toFailure(rejection: Rejection, rooms: ReadonlyMap<string, string>): Failure {
  const operation = rejection.operations.find(({ table }) => table === "chat.messages") ?? rejection.operations[0];
  const id = operation ? idOf(operation) : null;
  const room = operation?.set["room"] ?? operation?.key["room"] ?? (id === null ? undefined : rooms.get(id));
  const body = operation?.set["body"];
  const { state } = rejection;
  return {
    rejection,
    room: typeof room === "string" ? room : null,
    what: operation ? whatOf(operation) : "other",
    body: typeof body === "string" ? body : null,
    reason: state.state === "rejected" ? state.reason : "it is not known any more whether it has happened",
  };
}

function whatOf({ table, kind }: RejectedOperation): Failure["what"] {
  if (table === "chat.likes") return "like";
  if (table !== "chat.messages") return "other";
  if (kind === "delete") return "delete";
  return kind === "update" ? "edit" : "message";
}

function idOf({ table, key }: RejectedOperation): string | null {
  const id = table === "chat.messages" ? key["id"] : table === "chat.likes" ? key["message"] : null;
  return typeof id === "string" ? id : null;
}

/** Somebody else has founded a room of that name, which is as good; and that one types or is here is over by now. */
function isSettled({ operations }: Rejection): boolean {
  return operations.every(({ table }) => ["chat.rooms", "chat.typing", "chat.presence"].includes(table));
}
