// What a person does in the web chat, and what they see.
import assert from "node:assert/strict";

import { until } from "./browser.mjs";

/** A page of the chat, and what somebody does in it and sees. */
export class Device {
  constructor(page) {
    this.page = page;
  }

  /** Opens a room of the list. */
  async enter(room) {
    await this.page.locator(".room-item", { hasText: room }).click();
    await this.page.getByRole("heading", { name: room, level: 1 }).waitFor();
  }

  get field() {
    return this.page.locator(".composer textarea");
  }

  async say(text) {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  /** The message with this text. */
  message(text) {
    return this.page.locator("[data-message]", { has: this.page.locator(".message-body", { hasText: text }) });
  }

  /** Waits until there is one. */
  async sees(text) {
    await this.message(text).waitFor();
  }

  /** The texts of all messages of the room, in the order in which they are shown. */
  async texts() {
    return await this.page.locator(".message-body").allTextContents();
  }

  /** Waits until these are the texts. */
  async shows(texts) {
    let last;
    try {
      await until("the messages", async () => {
        last = await this.texts();
        return JSON.stringify(last) === JSON.stringify(texts);
      });
    } catch {
      assert.deepEqual(last, texts);
    }
  }

  async connection(word) {
    await this.page.locator(".connection-word", { hasText: word }).waitFor();
  }
}
