/** Sockets that send nothing before it is stored. */

/** Closes a socket with what was to be sent over it. Codes from 4000 on are for applications. */
const UNSETTLED = 4000;

/**
 * Replaces the global WebSocket. What is sent is copied and waits until `settled`, as it was called then, is fulfilled;
 * so all of it goes in order. When it rejects, the socket is closed, and nothing of that or after it is sent.
 */
export function gateSockets(settled: () => Promise<void>): void {
  globalThis.WebSocket = class extends WebSocket {
    #sent: Promise<unknown> = Promise.resolve();
    #waiting = 0;

    override get bufferedAmount(): number {
      return super.bufferedAmount + this.#waiting;
    }

    override send(data: string | ArrayBufferLike | Blob | ArrayBufferView): void {
      // It throws: it cannot be sent yet.
      if (this.readyState === WebSocket.CONNECTING) super.send(data as string);
      const copy = copied(data);
      const bytes = copy instanceof Blob ? copy.size : copy.byteLength;
      this.#waiting += bytes;
      const isText = typeof data === "string";
      const send = (): void => {
        this.#waiting -= bytes;
        // One that is closed by now sends nothing, and says nothing either.
        super.send(isText ? data : copy);
      };
      // Both are heard at once: otherwise one that rejects while the one before it waits would be nobody's.
      this.#sent = Promise.all([this.#sent, settled()]).then(send);
      this.#sent.catch(() => this.close(UNSETTLED, "what was to be sent is not stored"));
    }
  };
}

/** What is given may be memory that is soon something else. */
function copied(data: string | ArrayBufferLike | Blob | ArrayBufferView): Uint8Array<ArrayBuffer> | Blob {
  if (data instanceof Blob) return data;
  if (typeof data === "string") return new TextEncoder().encode(data);
  const bytes = ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
  return new Uint8Array(bytes);
}
