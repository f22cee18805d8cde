// franz-go, sarama and the CloudEvents SDK of Go: see tests/clients/README.md.
package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/twmb/franz-go/pkg/kgo"
)

type task struct {
	Bootstrap string
	Topic     string
	Cases     []request
}

type request struct {
	With    string // kgo, sarama or sarama murmur2
	Mode    string
	Key     *string
	Headers map[string]string
	Value   string
	Event   *struct {
		ID, Source, Type, Subject string
		Time                      time.Time
		Data                      map[string]any
		DataBase64                []byte `json:"data_base64"`
	}
}

type place struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

func main() {
	var given task
	must(json.NewDecoder(os.Stdin).Decode(&given))
	brokers := strings.Split(given.Bootstrap, ",")
	franz := must2(kgo.NewClient(kgo.SeedBrokers(brokers...)))
	defer franz.Close()
	saramas := map[string]sarama.SyncProducer{
		"sarama":         newSarama(brokers, sarama.NewHashPartitioner),
		"sarama murmur2": newSarama(brokers, Murmur2Partitioner),
	}
	places := []place{}
	for _, one := range given.Cases {
		if one.With == "kgo" {
			places = append(places, byFranz(franz, given.Topic, one))
		} else {
			places = append(places, bySarama(saramas[one.With], given.Topic, one))
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(places))
}

func newSarama(brokers []string, partitioner sarama.PartitionerConstructor) sarama.SyncProducer {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = partitioner
	return must2(sarama.NewSyncProducer(brokers, config))
}

func byFranz(client *kgo.Client, topic string, one request) place {
	record := &kgo.Record{Topic: topic, Value: []byte(one.Value)}
	if one.Key != nil {
		record.Key = []byte(*one.Key)
	}
	for name, value := range one.Headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	must(client.ProduceSync(context.Background(), record).FirstErr())
	return place{record.Partition, record.Offset}
}

func bySarama(producer sarama.SyncProducer, topic string, one request) place {
	message := &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(one.Value)}
	if one.Event != nil {
		ctx := binding.WithForceStructured(context.Background())
		if one.Mode == "binary" {
			ctx = binding.WithForceBinary(context.Background())
		}
		must(kafka_sarama.WriteProducerMessage(ctx, binding.ToMessage(made(one)), message))
	}
	if one.Key != nil {
		message.Key = sarama.StringEncoder(*one.Key)
	}
	for name, value := range one.Headers {
		kept := []sarama.RecordHeader{}
		for _, header := range message.Headers {
			if string(header.Key) != name {
				kept = append(kept, header)
			}
		}
		message.Headers = append(kept, sarama.RecordHeader{Key: []byte(name), Value: []byte(value)})
	}
	partition, offset, err := producer.SendMessage(message)
	must(err)
	return place{partition, offset}
}

func made(one request) *event.Event {
	made := event.New()
	made.SetID(one.Event.ID)
	made.SetSource(one.Event.Source)
	made.SetType(one.Event.Type)
	made.SetSubject(one.Event.Subject)
	made.SetTime(one.Event.Time)
	if one.Event.DataBase64 != nil { // bytes become `data_base64`
		must(made.SetData(event.ApplicationJSON, one.Event.DataBase64))
	} else {
		must(made.SetData(event.ApplicationJSON, one.Event.Data))
	}
	return &made
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must2[T any](value T, err error) T {
	must(err)
	return value
}
