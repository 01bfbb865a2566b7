/** Where the messages are scrolled to: at the end as long as the user is there, and else where they are. */

import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

import type { Timeline } from "../data/messages.js";
import { focusOn } from "./message.js";

/** So near to the end is at the end, in pixels. */
const NEAR = 60;

/** And so near to the beginning older ones are wanted. */
const NEAR_BEGINNING = 160;

/** How often older messages are loaded to find the one that was asked for. */
const STEPS_MAX = 20;

interface ScrollOptions {
  readonly timeline: Timeline;
  readonly user: string;
  readonly target: string | null;
  /** How much is shown below the messages. */
  readonly extra: number;
  readonly onAtEnd: (isAtEnd: boolean) => void;
}

export interface Scroll {
  readonly isAtEnd: boolean;
  readonly toEnd: () => void;
  readonly onScroll: () => void;
}

export function useScroll(box: RefObject<HTMLDivElement | null>, options: ScrollOptions): Scroll {
  const { timeline, user, target, extra, onAtEnd } = options;
  const { rows } = timeline.messages;
  const [isAtEnd, setAtEnd] = useState(true);
  const before = useRef({ isAtEnd: true, height: 0, top: 0, first: "", last: "" });

  const note = useCallback(
    (is: boolean) => {
      before.current.isAtEnd = is;
      setAtEnd(is);
      onAtEnd(is);
    },
    [onAtEnd],
  );

  const toEnd = useCallback(() => {
    const { current } = box;
    if (current) current.scrollTop = current.scrollHeight;
    note(true);
  }, [box, note]);

  const onScroll = (): void => {
    const { current } = box;
    if (!current) return;
    const { scrollTop, scrollHeight, clientHeight } = current;
    Object.assign(before.current, { height: scrollHeight, top: scrollTop });
    note(scrollHeight - scrollTop - clientHeight < NEAR);
    if (scrollTop < NEAR_BEGINNING && timeline.hasOlder && !timeline.isLoadingOlder) timeline.showOlder();
  };

  useLayoutEffect(() => {
    const { current } = box;
    if (!current) return;
    const was = before.current;
    const [first, last] = [rows[0]?.id ?? "", rows.at(-1)?.id ?? ""];
    const isOwnNew = last !== was.last && rows.at(-1)?.author === user;
    if (was.isAtEnd || isOwnNew) toEnd();
    // What has come above must not move what is read.
    else if (first !== was.first) current.scrollTop = current.scrollHeight - (was.height - was.top);
    Object.assign(was, { height: current.scrollHeight, top: current.scrollTop, first, last });
  }, [box, rows, extra, user, toEnd]);

  useEffect(() => {
    const { current } = box;
    if (!current) return undefined;
    // The composer has grown, or a keyboard has come.
    const observer = new ResizeObserver(() => {
      if (before.current.isAtEnd) current.scrollTop = current.scrollHeight;
    });
    observer.observe(current);
    return () => observer.disconnect();
  }, [box]);

  useTarget(box, timeline, target);
  return { isAtEnd, toEnd, onScroll };
}

/** Goes to the message that was asked for, and loads older ones until it is there. */
function useTarget(box: RefObject<HTMLDivElement | null>, timeline: Timeline, target: string | null): void {
  const steps = useRef(0);
  const shown = useRef<string | null>(null);
  useEffect(() => {
    if (target === null || shown.current === target) return;
    const item = box.current?.querySelector(`[data-message="${CSS.escape(target)}"]`);
    if (item) {
      shown.current = target;
      item.scrollIntoView({ block: "center" });
      focusOn(target);
    } else if (timeline.hasOlder && !timeline.isLoadingOlder && steps.current < STEPS_MAX) {
      steps.current += 1;
      timeline.showOlder();
    }
  });
}
