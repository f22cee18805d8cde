// Publishes a request and awaits its answer: upsert CUSTOMER DATE_OF_BIRTH
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const source = "/examples/go"

var (
	servers   = setting("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
	requests  = setting("REQUEST_TOPIC", "patient.upsert.requested")
	completed = setting("COMPLETED_TOPIC", "patient.upsert.completed")
	failed    = setting("FAILED_TOPIC", "patient.upsert.failed")
)

type answer struct {
	Status   int
	Outcome  string
	Request  struct{ ID, Source string }
	Response struct {
		Patient string // of a 200
		Error   string // of all others
		Details []struct{ Field, Code string }
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	// All partitions of both topics, without a group, from a minute ago: the answer may come at once, and clocks differ.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(servers, ",")...),
		kgo.ConsumeTopics(completed, failed),
		kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(time.Now().Add(-time.Minute).UnixMilli())),
	)
	check(err)
	defer client.Close()
	id, err := publish(ctx, client, os.Args[1], map[string]any{
		"customer":    os.Args[1],
		"firstName":   "Zoë",
		"lastName":    "Sample",
		"dateOfBirth": os.Args[2],
		"gender":      "female",
		"phone":       "+1 (202) 555-0143",
		"email":       "zoe.sample@clinic.example",
		"address":     "12 Invented Street",
		"address2":    nil,
		"city":        "Springfield",
		"state":       "OR",
		"postalCode":  "97475",
		"country":     "US",
	})
	check(err)
	found, err := await(ctx, client, id)
	check(err)
	if found.Status == 200 { // created, updated, unchanged or superseded
		fmt.Println(found.Outcome, found.Response.Patient)
		return
	}
	var faults []string
	for _, fault := range found.Response.Details {
		faults = append(faults, fault.Field+" "+fault.Code)
	}
	fmt.Printf("%s %s: %s\n", found.Outcome, found.Response.Error, strings.Join(faults, ", "))
}

// publish is the producer: it publishes a request and gives its id.
func publish(ctx context.Context, client *kgo.Client, customer string, patient map[string]any) (string, error) {
	id := rand.Text() // keep it with your data: sent again under its id, a request takes effect once
	value, err := json.Marshal(patient)
	if err != nil {
		return "", err
	}
	record := &kgo.Record{Topic: requests, Key: []byte(customer), Value: value, Headers: []kgo.RecordHeader{
		{Key: "idempotency-key", Value: []byte(id)},
		{Key: "source", Value: []byte(source)},
	}}
	return id, client.ProduceSync(ctx, record).FirstErr()
}

// await is the consumer: it gives the answer to this request. Others pass by; the same answer may come twice.
func await(ctx context.Context, client *kgo.Client, id string) (answer, error) {
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return answer{}, err
		}
		for _, record := range fetches.Records() {
			var found answer
			if err := json.Unmarshal(record.Value, &found); err != nil {
				return answer{}, err
			}
			if found.Request.ID == id && found.Request.Source == source {
				return found, nil
			}
		}
	}
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
