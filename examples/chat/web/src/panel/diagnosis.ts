/** How it is with the client, read again and again while somebody looks. */

import type { StorageUse, TidewireClient } from "@tidewire/client";
import { useTidewire } from "@tidewire/react";
import { useEffect, useState } from "react";

/** How often it is asked, in milliseconds. Each time the whole file is read, for the sizes. */
const LOOK_EVERY_MS = 2_000;

/** What is shown of `client.diagnose()`. */
export interface Diagnosis {
  readonly status: { readonly word: string; readonly phase: string };
  readonly lanes: readonly { readonly lane: string; readonly seq: number }[];
  readonly outbox: {
    readonly mutations: number;
    readonly bytes: number;
    readonly oldest_ms: number | null;
    readonly lanes: readonly { readonly lane: string; readonly settled: number; readonly sent: number }[];
  };
  readonly verifications: { readonly equal: number; readonly different: number };
  readonly incidents: { readonly count: number };
}

/** All of it, as of one moment. */
export interface Look {
  readonly diagnosis: Diagnosis;
  readonly storage: StorageUse;
}

/** The latest look; none before there is one, and while the client cannot be asked. */
export function useLook(): Look | null {
  const client = useTidewire();
  const [look, setLook] = useState<Look | null>(null);
  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout>;
    const next = async (): Promise<void> => {
      const seen = await lookAt(client).catch(() => null);
      if (isOver) return;
      setLook(seen);
      timer = setTimeout(() => void next(), LOOK_EVERY_MS);
    };
    void next();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [client]);
  return look;
}

async function lookAt(client: TidewireClient): Promise<Look> {
  const [diagnosis, storage] = await Promise.all([client.diagnose(), client.storage()]);
  return { diagnosis: diagnosis as unknown as Diagnosis, storage };
}
